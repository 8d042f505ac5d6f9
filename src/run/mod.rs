//! The shell: builds everything from the checked config, selects, performs effects, reloads, shuts down.
