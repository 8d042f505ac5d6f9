//! Ladders and what moves them: hysteresis, dwell, pins, decisions with their reasons. Pure: knows no store.
