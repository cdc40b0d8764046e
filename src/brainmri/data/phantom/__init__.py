"""The phantom set: simulated MRI slices of simulated brain tumours."""
