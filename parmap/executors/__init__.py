"""The places where tasks run, one file each; they satisfy `events.Executor` and are made by `plan`."""
