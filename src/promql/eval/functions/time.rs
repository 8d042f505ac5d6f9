//! Dates in UTC, and the timestamps of samples.

use crate::model::Labels;
use crate::promql::ast::{Call, Kind};

use crate::promql::eval::error::EvalError;
use crate::promql::eval::evaluator::{Element, Evaluator, Frame, bare};
use crate::promql::eval::value::SampleValue;

/// A civil date with the time of day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Date {
    year: i64,
    month: i64,
    day: i64,
    hour: i64,
    minute: i64,
    /// Days since the epoch.
    days: i64,
}

const DAY: i64 = 86_400;

impl Date {
    /// The date of Unix seconds (proleptic Gregorian calendar).
    fn of(secs: i128) -> Date {
        let day = i128::from(DAY);
        // Both fit: a day has few seconds, and no instant is 2^63 days away.
        let (days, rest) = (secs.div_euclid(day) as i64, secs.rem_euclid(day) as i64);
        // Years are counted from March, in eras of 400 years.
        let shifted = days + 719_468;
        let era = shifted.div_euclid(146_097);
        let day_of_era = shifted.rem_euclid(146_097);
        let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted_month = (5 * day_of_year + 2) / 153;
        let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
        Date {
            year: year_of_era + era * 400 + i64::from(month <= 2),
            month,
            day: day_of_year - (153 * shifted_month + 2) / 5 + 1,
            hour: rest / 3600,
            minute: rest % 3600 / 60,
            days,
        }
    }

    fn is_leap(self) -> bool {
        self.year.rem_euclid(4) == 0 && (self.year.rem_euclid(100) != 0 || self.year.rem_euclid(400) == 0)
    }

    fn days_in_month(self) -> i64 {
        match self.month {
            2 if self.is_leap() => 29,
            2 => 28,
            4 | 6 | 9 | 11 => 30,
            _ => 31,
        }
    }

    fn day_of_year(self) -> i64 {
        const BEFORE: [i64; 12] = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334];
        let leap_day = i64::from(self.is_leap() && self.month > 2);
        BEFORE[(self.month - 1) as usize] + leap_day + self.day
    }
}

/// The function of that name, if it reads something off a date.
pub(super) fn date_function(name: &str) -> Option<fn(Date) -> i64> {
    Some(match name {
        "days_in_month" => Date::days_in_month,
        "day_of_month" => |date| date.day,
        // 1970-01-01 was a Thursday.
        "day_of_week" => |date| (date.days + 4).rem_euclid(7),
        "day_of_year" => Date::day_of_year,
        "hour" => |date| date.hour,
        "minute" => |date| date.minute,
        "month" => |date| date.month,
        "year" => |date| date.year,
        _ => return None,
    })
}

/// Float to whole seconds. What is no such number gives the instant that Prometheus gives on most machines, far away.
fn whole_seconds(value: f64) -> i128 {
    const NOWHERE: i128 = 1 << 63;
    if value.abs() < NOWHERE as f64 { value as i128 } else { NOWHERE }
}

impl Evaluator<'_> {
    pub(super) fn dates(
        &mut self,
        call: &Call,
        frame: &Frame,
        at: i64,
        date: fn(Date) -> i64,
    ) -> Result<Vec<Element>, EvalError> {
        let Some(arg) = call.args.first() else {
            return Ok(vec![Element::float(Labels::empty(), date(Date::of(i128::from(at.div_euclid(1000)))) as f64)]);
        };
        let vector = self.vector(arg, frame, at)?;
        Ok(self.each_float(vector, |value| date(Date::of(whole_seconds(value))) as f64))
    }

    /// `timestamp(v)`: of a selector the time of the sample, of anything else the time of the evaluation.
    pub(super) fn timestamps(&mut self, call: &Call, frame: &Frame, at: i64) -> Result<Vec<Element>, EvalError> {
        let arg = bare(&call.args[0]);
        let mut vector = Vec::new();
        match &arg.kind {
            Kind::Selector(selector) => {
                let (loaded, reference) = self.instant_series(arg, selector, frame)?;
                let until = reference.time(at);
                let after = until - self.lookback();
                for series in &loaded.series {
                    if let Some(newest) = series.newest(after, until) {
                        vector.push(Element::float(series.labels.clone(), newest.at as f64 / 1000.0));
                    }
                }
            }
            _ => {
                vector = self.vector(arg, frame, at)?;
                for element in &mut vector {
                    element.value = SampleValue::Float(at as f64 / 1000.0);
                }
            }
        }
        for element in &mut vector {
            self.drop_name(element);
        }
        Ok(vector)
    }

    /// `start_timestamp(v)`: of a selector the start timestamps of the samples, 0 where there is none; of anything else
    /// nothing.
    pub(super) fn start_timestamps(&mut self, call: &Call, frame: &Frame, at: i64) -> Result<Vec<Element>, EvalError> {
        let arg = bare(&call.args[0]);
        let Kind::Selector(selector) = &arg.kind else {
            self.vector(arg, frame, at)?;
            return Ok(Vec::new());
        };
        let (loaded, reference) = self.instant_series(arg, selector, frame)?;
        let until = reference.time(at);
        let after = until - self.lookback();
        let mut vector = Vec::new();
        for series in &loaded.series {
            if let Some(start) = series.newest(after, until).and_then(|newest| newest.start) {
                let mut element = Element::float(series.labels.clone(), start as f64 / 1000.0);
                self.drop_name(&mut element);
                vector.push(element);
            }
        }
        Ok(vector)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_agree_with_the_calendar() {
        let check = |secs: i64, expected: (i64, i64, i64, i64), weekday: i64, length: i64| {
            let date = Date::of(i128::from(secs));
            assert_eq!((date.year, date.month, date.day, date.day_of_year()), expected, "{secs}");
            assert_eq!((date.days + 4).rem_euclid(7), weekday, "{secs}");
            assert_eq!(date.days_in_month(), length, "{secs}");
        };
        check(0, (1970, 1, 1, 1), 4, 31);
        check(-1, (1969, 12, 31, 365), 3, 31);
        check(1_709_164_800, (2024, 2, 29, 60), 4, 29);
        check(1_735_603_200, (2024, 12, 31, 366), 2, 31);
        check(4_107_542_400, (2100, 3, 1, 60), 1, 31);
    }
}
