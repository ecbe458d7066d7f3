"""What training and serving share: front end, networks, calibration, and the bundle that keeps them."""
