//! Rule files, groups, their schedule, and the state of alerts and of action rules. Pure: takes `now` as an argument.
