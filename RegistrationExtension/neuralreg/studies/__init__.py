"""Many pairs: tables of them, worked through, resumed and accounted for."""
