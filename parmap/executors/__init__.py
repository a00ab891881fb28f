"""Where tasks run: one file each, made by `plan`, satisfying `events.Executor`."""
