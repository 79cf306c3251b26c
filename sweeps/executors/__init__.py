"""Who runs the jobs: this process, Ray Tune, or recorded curves."""
