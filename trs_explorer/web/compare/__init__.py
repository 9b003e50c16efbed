"""The Compare page: two runs on one plane and one scale, all runs of a data set in charts and in the paper's table."""
