"""Jobs on what lies in a scene, beside registrations and reviews: one kind in each file."""
