"""Studies: commands that run many searches or trainings and judge them. They may import every other room."""
