//! The one state of the daemon: `handle(now, Event, &mut Effects)` and `next_deadline()`. Pure.
