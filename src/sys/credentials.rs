//! What another thread may do, as `/proc` tells it.

use std::fs;
use std::os::unix::fs::MetadataExt;

const FSETID: u32 = 4;
/// The first user namespace of every machine.
const INITIAL: u64 = 0xEFFF_FFFD;

/// Whether a thread has the right to keep the set-id bits of what it changes, where this process counts ids or above.
/// Of a thread that is not told of, it is not known, and so it has not.
pub fn may_keep_set_id(thread: u32) -> bool {
    let told = fs::read_to_string(format!("/proc/{thread}/status"));
    told.is_ok_and(|status| effective(&status) >> FSETID & 1 == 1) && is_in_our_namespace(thread)
}

fn effective(status: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    line.and_then(|digits| u64::from_str_radix(digits.trim(), 16).ok()).unwrap_or(0)
}

fn is_in_our_namespace(thread: u32) -> bool {
    let number = |of: &str| fs::metadata(format!("/proc/{of}/ns/user")).ok().map(|found| found.ino());
    let theirs = number(&thread.to_string());
    theirs.is_some() && (theirs == Some(INITIAL) || theirs == number("self"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_right_is_read_from_the_status() {
        assert_eq!(
            effective("Name:\tx\nCapPrm:\t0000000000000000\nCapEff:\t0000000000000010\n"),
            1 << FSETID
        );
        assert_eq!(effective("Name:\tCapEff\nCapEff:\tnonsense\n"), 0);
    }

    #[test]
    fn a_thread_that_is_not_there_has_no_rights() {
        assert!(!may_keep_set_id(0));
        assert_eq!(may_keep_set_id(std::process::id()), rustix::process::geteuid().is_root());
    }
}
