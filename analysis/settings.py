"""What became of every setting of a search, as SQL over table trials: a row a setting.

Where budgets are truncated a setting is one trial. Where they are compressed it is a trial for each budget that it
came to, and all but the newest completed. A trial that completed a smaller budget than the whole says so itself: its
last epoch is a rung. Its value is of another schedule, and no arm's final one.
"""

from __future__ import annotations

# Of table trials. Where it does not hold, the trial completed a smaller budget. What is unknown is no smaller budget.
IS_WHOLE = "coalesce(rung <> epochs_planned, true)"

# The row of each setting's newest trial. One that completed a smaller budget and was let go on to no other has stopped
# there, like one that is cut off at the rung. Only the rows of smaller budgets are looked up: as a rule there are none.
SETTINGS = f"""
    SELECT * FROM trials WHERE stage = 'tune' AND {IS_WHOLE}
    UNION ALL
    SELECT * REPLACE ('stopped' AS status)
    FROM (SELECT * FROM trials WHERE stage = 'tune' AND NOT ({IS_WHOLE})) ended
    ANTI JOIN trials later ON later.study_id = ended.study_id AND later.arm_id = ended.arm_id AND later.stage = 'tune'
        AND later.number = ended.number AND later.epochs_planned > ended.epochs_planned
"""
