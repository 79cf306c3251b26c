"""What the runs mean: tables, SQL, statistics, leaderboards. Needs neither torch nor Ray."""
