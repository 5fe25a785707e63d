//! Who may be asked now: capacities, back-off of a failing approximation agent, rate
//! limits of the target and the judge (rule 9).

use forerun_types::Time;
use std::time::Duration;

/// Failures of the approximation agent in a row before it is left alone for a while.
const FAILURES_BEFORE_BACK_OFF: u32 = 3;
/// The first back-off; each further failure doubles it.
const BACK_OFF_FIRST: Duration = Duration::from_secs(2);
/// The longest back-off, so that an agent that recovers is noticed.
const BACK_OFF_MAX: Duration = Duration::from_secs(300);
/// Doublings after which the back-off is the longest one anyway.
const BACK_OFF_DOUBLINGS_MAX: u32 = 8;

/// Calls of A for one step: the first and one more.
pub(crate) const APPROXIMATION_TRIES: u32 = 2;
/// Calls of T for one prefix: the first and two retries.
pub(crate) const TARGET_TRIES: u32 = 3;

/// The approximation agent.
#[derive(Clone, Debug, Default)]
pub(crate) struct Approximation {
    attached: bool,
    failures_in_a_row: u32,
    not_before: Time,
}

impl Approximation {
    pub(crate) fn attach(&mut self) {
        *self = Approximation {
            attached: true,
            ..Approximation::default()
        };
    }

    pub(crate) fn lose(&mut self) {
        self.attached = false;
    }

    pub(crate) fn may_ask(&self, now: Time) -> bool {
        self.attached && now >= self.not_before
    }

    pub(crate) fn answered(&mut self) {
        self.failures_in_a_row = 0;
    }

    pub(crate) fn failed(&mut self, now: Time) {
        self.failures_in_a_row = self.failures_in_a_row.saturating_add(1);
        if let Some(doublings) = self.failures_in_a_row.checked_sub(FAILURES_BEFORE_BACK_OFF) {
            let wait = BACK_OFF_FIRST * 2u32.pow(doublings.min(BACK_OFF_DOUBLINGS_MAX));
            self.not_before = now + wait.min(BACK_OFF_MAX);
        }
    }

    pub(crate) fn rate_limited(&mut self, now: Time, retry_after: Duration) {
        self.not_before = self.not_before.max(now + retry_after);
    }

    /// When it may be asked again, if it may not now.
    pub(crate) fn timeout(&self, now: Time) -> Option<Time> {
        (self.attached && self.not_before > now).then_some(self.not_before)
    }
}

/// The target agent.
#[derive(Clone, Debug, Default)]
pub(crate) struct Target {
    /// `None` until the first one attaches; 0 when it is lost.
    capacity: Option<u32>,
    /// At most so many calls in flight after a rate limit; each answer adds one.
    limit: Option<u32>,
    not_before: Time,
}

impl Target {
    pub(crate) fn attach(&mut self, capacity: u32) {
        self.capacity = Some(capacity.max(1));
    }

    pub(crate) fn lose(&mut self) {
        self.capacity = Some(0);
    }

    /// Whether the session had a target and has none now.
    pub(crate) fn is_lost(&self) -> bool {
        self.capacity == Some(0)
    }

    /// How many steps may be undecided: the configured depth, or less.
    pub(crate) fn depth(&self, configured: u32) -> u32 {
        configured.min(self.capacity.unwrap_or(configured)).max(1)
    }

    /// Whether it may be asked, while `in_flight` calls are. The lowest undecided step is
    /// always asked for, however few calls a rate limit leaves.
    pub(crate) fn may_ask(&self, now: Time, in_flight: u32, lowest: bool) -> bool {
        let capacity = self.capacity.unwrap_or(0);
        let allowed = match self.limit {
            Some(limit) if !lowest => limit.min(capacity),
            _ => capacity,
        };
        in_flight < allowed && now >= self.not_before
    }

    pub(crate) fn answered(&mut self) {
        self.limit = match (self.limit, self.capacity) {
            (Some(limit), Some(capacity)) if limit < capacity => Some(limit + 1),
            _ => None,
        };
    }

    /// `in_flight` counts the call that was refused.
    pub(crate) fn rate_limited(&mut self, now: Time, in_flight: u32, retry_after: Duration) {
        let half = (in_flight / 2).max(1);
        self.limit = Some(self.limit.map_or(half, |limit| limit.min(half)));
        self.not_before = self.not_before.max(now + retry_after);
    }

    /// When it may be asked again, if it may not now.
    pub(crate) fn timeout(&self, now: Time) -> Option<Time> {
        (self.capacity > Some(0) && self.not_before > now).then_some(self.not_before)
    }
}

/// The agent that judges.
#[derive(Clone, Debug, Default)]
pub(crate) struct Judge {
    /// 0 while there is none.
    capacity: u32,
    not_before: Time,
}

impl Judge {
    pub(crate) fn attach(&mut self, capacity: u32) {
        *self = Judge {
            capacity: capacity.max(1),
            not_before: Time::ZERO,
        };
    }

    pub(crate) fn lose(&mut self) {
        self.capacity = 0;
    }

    /// Whether it can be waited for. While a rate limit lasts it can not: nothing is held up
    /// for a judge.
    pub(crate) fn is_there(&self, now: Time) -> bool {
        self.capacity > 0 && now >= self.not_before
    }

    /// Whether it may be asked, while `in_flight` calls are.
    pub(crate) fn may_ask(&self, now: Time, in_flight: usize) -> bool {
        let in_flight = u32::try_from(in_flight).unwrap_or(u32::MAX);
        self.is_there(now) && in_flight < self.capacity
    }

    pub(crate) fn rate_limited(&mut self, now: Time, retry_after: Duration) {
        self.not_before = self.not_before.max(now + retry_after);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn the_third_failure_in_a_row_begins_a_back_off_that_doubles() {
        let mut agent = Approximation::default();
        agent.attach();
        agent.failed(Time::ZERO);
        agent.failed(Time::ZERO);
        assert!(agent.may_ask(Time::ZERO));
        agent.failed(Time::ZERO);
        assert_eq!(agent.timeout(Time::ZERO), Some(Time::ZERO + BACK_OFF_FIRST));
        agent.failed(Time::ZERO);
        assert_eq!(
            agent.timeout(Time::ZERO),
            Some(Time::ZERO + BACK_OFF_FIRST * 2)
        );
        for _ in 0..100 {
            agent.failed(Time::ZERO);
        }
        assert_eq!(agent.timeout(Time::ZERO), Some(Time::ZERO + BACK_OFF_MAX));
    }

    #[test]
    fn an_answer_in_between_forgets_the_failures() {
        let mut agent = Approximation::default();
        agent.attach();
        for _ in 0..10 {
            agent.failed(Time::ZERO);
            agent.failed(Time::ZERO);
            agent.answered();
        }
        assert!(agent.may_ask(Time::ZERO));
    }

    #[test]
    fn a_rate_limit_halves_the_calls_in_flight_and_answers_bring_them_back() {
        let mut agent = Target::default();
        agent.attach(8);
        agent.rate_limited(Time::ZERO, 8, SECOND);
        assert!(!agent.may_ask(Time::ZERO, 0, true), "waits as told");
        let later = Time::ZERO + SECOND;
        assert!(agent.may_ask(later, 3, false));
        assert!(!agent.may_ask(later, 4, false));
        assert!(
            agent.may_ask(later, 4, true),
            "the lowest step is always asked for"
        );
        for _ in 0..4 {
            agent.answered();
        }
        assert!(agent.may_ask(later, 7, false));
        assert!(!agent.may_ask(later, 8, true), "capacity holds for all");
    }
}
