//! How fast this node repairs and fetches: by what that costs, and less of it while clients ask.
//!
//! An allowance of bytes grows with time. What a page cost, read here or brought here, is taken from it afterwards, so that it may fall below nothing; then the next page waits until it is above again. A comparison that
//! finds nothing costs little, and so many are made a second where there is reason to look; where there is none, one at a time is made now and then.

/// Requests in flight from which on repair takes second place.
const BUSY: usize = 32;
/// The part of the allowance that is left to it then.
const SHARE_WHEN_BUSY: u64 = 4;
/// How long an allowance is saved up, in milliseconds.
const SAVED_MS: u64 = 250;
/// What a comparison counts for, beside its pages.
pub(crate) const COMPARISON_BYTES: usize = 4 << 10;

#[derive(Debug, Default)]
pub(crate) struct Pace {
    allowance: i64,
    at_ms: u64,
    /// How many comparisons there is reason for, and until when.
    wanted: usize,
    until_ms: u64,
}

impl Pace {
    /// Time has gone by.
    pub(crate) fn refill(&mut self, now_ms: u64, bytes_per_second: u64, requests: usize) {
        let passed = now_ms.saturating_sub(self.at_ms).min(SAVED_MS);
        self.at_ms = now_ms;
        let share = if requests >= BUSY { SHARE_WHEN_BUSY } else { 1 };
        let rate = i64::try_from(bytes_per_second / share).unwrap_or(i64::MAX);
        let more = |ms: u64| rate.saturating_mul(ms as i64) / 1000;
        // Something, however small the rate: it must not stand still.
        let most = more(SAVED_MS).max(1);
        self.allowance = self.allowance.saturating_add(more(passed).max(1)).min(most);
    }

    /// Whether the next page may be asked for.
    pub(crate) fn allows(&self) -> bool {
        self.allowance > 0
    }

    pub(crate) fn spend(&mut self, bytes: usize) {
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        self.allowance = self.allowance.saturating_sub(bytes);
    }

    /// There is reason to compare so many partitions soon. It is given up after as long as that would have taken without hurry.
    pub(crate) fn hurry(&mut self, partitions: usize, now_ms: u64, interval_ms: u64) {
        self.wanted = self.wanted.max(partitions);
        self.until_ms = now_ms.saturating_add(interval_ms.saturating_mul(partitions as u64));
    }

    pub(crate) fn is_hurried(&self, now_ms: u64) -> bool {
        self.wanted > 0 && now_ms < self.until_ms
    }

    /// One of them has begun.
    pub(crate) fn began(&mut self) {
        self.wanted = self.wanted.saturating_sub(1);
    }

    /// It came to nothing: there is one more to make.
    pub(crate) fn failed(&mut self, now_ms: u64) {
        if now_ms < self.until_ms {
            self.wanted += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many bytes go in ten seconds, in pages of this size.
    fn in_ten_seconds(rate: u64, page: usize, requests: usize) -> usize {
        let (mut pace, mut bytes) = (Pace::default(), 0);
        for now_ms in (0..10_000).step_by(20) {
            pace.refill(now_ms, rate, requests);
            while pace.allows() {
                pace.spend(page);
                bytes += page;
            }
        }
        bytes
    }

    #[test]
    fn no_more_bytes_go_than_the_rate_says_and_fewer_while_clients_ask() {
        for (rate, page) in [(1 << 20, 1000), (1 << 20, 1 << 20), (100_000, 1 << 18)] {
            let all = rate as usize * 10;
            let idle = in_ten_seconds(rate, page, 0);
            assert!(
                idle > all * 9 / 10 && idle < all * 11 / 10 + page,
                "{idle} of {all}"
            );
            let busy = in_ten_seconds(rate, page, BUSY);
            assert!(busy > all / 5 && busy < all * 3 / 10 + page, "{busy} of {all}");
        }
        assert!(in_ten_seconds(0, 100, 0) > 0, "it never stands still");
        let mut pace = Pace::default();
        pace.refill(1000, u64::MAX, 0);
        assert!(pace.allows());
        pace.spend(usize::MAX);
        pace.spend(usize::MAX);
        assert!(!pace.allows(), "no number is too great");
    }

    #[test]
    fn hurry_ends_with_what_was_wanted_or_with_its_time() {
        let mut pace = Pace::default();
        assert!(!pace.is_hurried(0));
        pace.hurry(2, 1000, 100);
        pace.began();
        pace.failed(1050);
        pace.began();
        assert!(pace.is_hurried(1199));
        assert!(!pace.is_hurried(1200));
        pace.began();
        assert!(!pace.is_hurried(1100));
    }
}
