"""What `docker-compose.yml` runs and mounts, in so far as it is made by slipway."""
