"""What the literature reports, as data: results.csv and sources.csv beside this file.

One row of results.csv is one printed number: data, teacher, student, their own accuracies where the source prints them,
method as printed, top-1, its standard deviation and number of runs where known, source, role, selection, note. Shares
are fractions with the printed digits.

role: `primary` (the authors' own method), `reproduced` (somebody's run of another's method) or `quoted` (a copy of
somebody else's number, which is no evidence of its own).
selection: the epoch that the number is of: `last`, `best_test` (the maximum over epochs on test: higher for nothing),
`best_val` or `unknown`. A quoted number has the rule of the run that it equals to the last digit, else it is unknown.
"""
