"""What the matrices of faults and of deaths share."""
