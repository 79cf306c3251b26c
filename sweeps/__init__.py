"""Many runs: the study file, the journal, the planner and its executors. The only room that knows Ray."""
