"""How the rows of a study are computed: workers, locks, records, and who leads them."""
