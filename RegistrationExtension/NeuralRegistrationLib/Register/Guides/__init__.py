"""What steers a registration: nodes as the core takes them, and the controls to choose them."""
