//! Where blocks of 65,536 ids are taken from, for a VM with users of its own.

use std::ops::Range;

/// How many ids a VM has: all that fit into 16 bits, as distributions assume.
pub const LENGTH: u32 = 1 << 16;

/// The id of a user who owns nothing.
pub const NOBODY: u32 = 65_534;

/// The blocks above every range that distributions, systemd (containers, dynamic users, foreign ids), subuid allocation and
/// directories assign (<https://systemd.io/UIDS-GIDS/>; sssd maps ids up to 2,000,200,000), by their numbers. That is room for 2,016 VMs.
const PREFERRED: Range<u32> = 0x7800..0x7fe0;

/// The ids that own the files of VMs on disks: the block after those.
pub const DISK: Range<u32> = 0x7fe0_0000..0x7fe1_0000;

/// How many ids at the top of a smaller range are taken alone.
pub const SINGLE_IDS: u32 = 8192;

/// How many blocks at the top of a smaller range are tried.
const MOST: u32 = 256;

/// Below this are users of a container, and of containers in it.
const LOWEST: u32 = 1_000_000;

/// The ids of the block with this number.
pub fn ids(number: u32) -> Range<u32> {
    number * LENGTH..(number + 1) * LENGTH
}

/// The numbers of the blocks to choose from, which are in both maps: the preferred ones, or the upper end of the largest range.
pub fn unused(uids: &[Range<u32>], gids: &[Range<u32>]) -> Option<Range<u32>> {
    let common = uids.iter().flat_map(|uid| {
        gids.iter()
            .map(move |gid| uid.start.max(gid.start)..uid.end.min(gid.end))
    });
    let mut best: Option<Range<u32>> = None;
    for range in common {
        if range.start <= ids(PREFERRED.start).start && ids(PREFERRED.end).start <= range.end {
            return Some(PREFERRED);
        }
        // Single ids are taken from the top.
        let end = range.end.saturating_sub(SINGLE_IDS) / LENGTH;
        let start = range.start.max(LOWEST).div_ceil(LENGTH);
        let start = start.max(end.saturating_sub(MOST));
        if start < end
            && best
                .as_ref()
                .is_none_or(|best| end - start > best.end - best.start)
        {
            best = Some(start..end);
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_id_space_gives_blocks_between_those_of_others() {
        let all = [0..u32::MAX, 0..0];
        let blocks = unused(&all, &all).expect("blocks");
        assert_eq!(blocks, PREFERRED);
        // sssd's ids end below, and systemd's foreign ids begin above.
        assert!(ids(blocks.start).start > 2_000_200_000);
        assert!(ids(blocks.end - 1).end <= 0x7ffe_0000);
        assert_eq!(ids(blocks.end), DISK);
    }

    #[test]
    fn a_container_with_many_ids_gives_the_upper_ones_of_both_maps() {
        let uids = [0..1_000_000_000, 0..0];
        let blocks = unused(&uids, &uids).expect("blocks");
        assert_eq!(blocks.end - blocks.start, MOST);
        assert!(ids(blocks.end - 1).end <= 1_000_000_000 - SINGLE_IDS);
        let gids = [0..1_200_000, 0..0];
        let fewer = unused(&uids, &gids).expect("blocks");
        assert_eq!(fewer, 16..18);
    }

    #[test]
    fn a_container_with_few_ids_gives_none() {
        let few = [0..65_536, 0..0];
        assert_eq!(unused(&few, &few), None);
        let root = [0..1, 5_000_000..5_000_100];
        assert_eq!(unused(&root, &root), None);
    }
}
