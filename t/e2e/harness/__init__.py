"""What the end-to-end tests are built from: a daemon, scripted origins, a strict raw client."""
