"""Published protocols, one file each. A benchmark function returns a `lethe.task.Task`."""
