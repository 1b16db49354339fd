//! The disk tier against damage, full and broken disks, and restarts.

#![allow(clippy::unwrap_used)]

use std::os::unix::fs::{FileExt, symlink};

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

use super::super::page::FileKey;
use super::*;

const LIMIT: u64 = 8 << 20;

fn key(name: &str, number: u64) -> PageKey {
    PageKey::new(
        &FileKey { name: Arc::from(name), size_bytes: 1 << 40 },
        &(number * 100_000..number * 100_000 + 100_000),
    )
}

/// A page that its key determines, so that any other page is a wrong answer.
fn page(key: &PageKey) -> Bytes {
    let mut random = StdRng::seed_from_u64(key.start ^ key.file.name.len() as u64);
    let length = random.random_range(1..40_000);
    Bytes::from((0..length).map(|_| random.random::<u8>()).collect::<Vec<u8>>())
}

fn fill(tier: &DiskTier, name: &str, pages: u64) -> Vec<PageKey> {
    let keys: Vec<PageKey> = (0..pages).map(|number| key(name, number)).collect();
    for key in &keys {
        tier.insert(key, page(key));
    }
    tier.flush();
    keys
}

async fn right_or_absent(tier: &DiskTier, keys: &[PageKey]) -> usize {
    let mut found = 0;
    for key in keys {
        if let Some(read) = tier.get(key).await {
            assert_eq!(read, page(key), "a wrong page");
            found += 1;
        }
    }
    found
}

fn files(folder: &Path) -> Vec<PathBuf> {
    segments_in(folder).unwrap()
}

fn length_of_files(folder: &Path) -> u64 {
    files(folder).iter().map(|path| path.metadata().unwrap().len()).sum()
}

#[tokio::test]
async fn a_reopened_folder_is_warm() {
    let folder = tempfile::tempdir().unwrap();
    let tier = DiskTier::open(folder.path(), LIMIT).unwrap();
    let keys = fill(&tier, "a", 100);
    drop(tier);
    let tier = DiskTier::open(folder.path(), LIMIT).unwrap();
    assert_eq!(right_or_absent(&tier, &keys).await, 100);
    assert_eq!(tier.stats().entries, 100);
}

#[tokio::test]
async fn a_damaged_file_is_gone_and_does_not_come_back_with_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let tier = DiskTier::open(folder.path(), LIMIT).unwrap();
    let (damaged, others) = (fill(&tier, "a", 20), fill(&tier, "bb", 20));
    let waiting = key("a", 20);
    tier.insert(&waiting, page(&waiting));
    tier.spoil(&waiting.file);
    assert_eq!(right_or_absent(&tier, &[damaged.clone(), vec![waiting]].concat()).await, 0);
    tier.flush();
    assert_eq!(right_or_absent(&tier, &others).await, 20);
    drop(tier);
    let tier = DiskTier::open(folder.path(), LIMIT).unwrap();
    assert_eq!((right_or_absent(&tier, &damaged).await, right_or_absent(&tier, &others).await), (0, 20));
}

#[test]
fn a_folder_has_one_owner() {
    let folder = tempfile::tempdir().unwrap();
    let _tier = DiskTier::open(folder.path(), LIMIT).unwrap();
    let error = DiskTier::open(folder.path(), LIMIT).unwrap_err().to_string();
    assert!(error.contains("cache.disk_dir") && error.contains("another process"), "{error}");
}

#[tokio::test]
async fn a_thousand_damages_give_no_wrong_page() {
    let folder = tempfile::tempdir().unwrap();
    let mut random = StdRng::seed_from_u64(7);
    let mut survived = 0;
    for round in 0..50 {
        let tier = DiskTier::open(folder.path(), LIMIT).unwrap();
        let keys = fill(&tier, "damaged", 150);
        // Some while the tier is open, which knows where its pages were; some between two processes.
        if round % 2 == 0 {
            (0..20).for_each(|_| damage(folder.path(), &mut random));
            survived += right_or_absent(&tier, &keys).await;
            drop(tier);
        } else {
            drop(tier);
            (0..20).for_each(|_| damage(folder.path(), &mut random));
            let tier = DiskTier::open(folder.path(), LIMIT).unwrap();
            survived += right_or_absent(&tier, &keys).await;
            drop(tier);
        }
        let tier = DiskTier::open(folder.path(), LIMIT).unwrap();
        right_or_absent(&tier, &keys).await;
    }
    assert!(survived > 1000, "damage is local: {survived} pages of 7500 were read");
}

/// One bit flipped, one file cut, or two stretches or files swapped.
fn damage(folder: &Path, random: &mut StdRng) {
    let files = files(folder);
    let (one, other) = (files.choose(random).unwrap(), files.choose(random).unwrap());
    let open = |path: &PathBuf| std::fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
    let length = one.metadata().unwrap().len();
    match random.random_range(0..10) {
        0 => open(one).set_len(random.random_range(0..=length)).unwrap(),
        1 if one != other => {
            let aside = folder.join("aside");
            std::fs::rename(one, &aside).unwrap();
            std::fs::rename(other, one).unwrap();
            std::fs::rename(&aside, other).unwrap();
        }
        2 if length > 20_000 => {
            let (from, to) = (random.random_range(0..length - 5000), random.random_range(0..length - 5000));
            let mut stretch = vec![0; 5000];
            open(one).read_exact_at(&mut stretch, from).unwrap();
            open(one).write_all_at(&stretch, to).unwrap();
        }
        _ if length > 0 => {
            let at = random.random_range(0..length);
            let mut byte = [0];
            open(one).read_exact_at(&mut byte, at).unwrap();
            byte[0] ^= 1 << random.random_range(0..8);
            open(one).write_all_at(&byte, at).unwrap();
        }
        _ => {}
    }
}

#[tokio::test]
async fn the_limit_is_held_and_a_scan_leaves_what_is_used() {
    let folder = tempfile::tempdir().unwrap();
    let tier = DiskTier::open(folder.path(), LIMIT).unwrap();
    let hot = fill(&tier, "hot", 60);
    right_or_absent(&tier, &hot).await;
    for number in 0..1600 {
        let key = key("scan", number);
        tier.insert(&key, page(&key));
        if number % 50 == 0 {
            tier.flush();
            assert!(length_of_files(folder.path()) <= LIMIT + LIMIT / 10, "{}", length_of_files(folder.path()));
        }
        if number % 200 == 0 {
            right_or_absent(&tier, &hot).await;
        }
    }
    tier.flush();
    assert!(tier.stats().bytes <= LIMIT && length_of_files(folder.path()) <= LIMIT);
    let kept = right_or_absent(&tier, &hot).await;
    assert!(kept >= 54, "{kept} of 60 used pages were kept");
    assert!(tier.stats().evictions > 500);
}

#[tokio::test]
async fn full_and_broken_disks_cost_pages_but_no_error() {
    // A write to the first fails with ENOSPC, to the second (at an address that is not mapped) with EIO.
    for device in ["/dev/full", "/proc/self/mem"] {
        let folder = tempfile::tempdir().unwrap();
        symlink(device, folder.path().join("pages-0000000000000000.segment.next")).unwrap();
        let tier = DiskTier::open(folder.path(), LIMIT).unwrap();
        std::fs::rename(
            folder.path().join("pages-0000000000000000.segment.next"),
            folder.path().join("pages-0000000000000000.segment"),
        )
        .unwrap();
        let keys = fill(&tier, "a", 20);
        assert_eq!((right_or_absent(&tier, &keys).await, tier.stats().write_errors), (0, 1), "{device}");
    }
}

#[tokio::test]
async fn a_file_of_another_kind_is_no_segment() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("pages-0000000000000003.segment"), vec![b'x'; 10_000]).unwrap();
    std::fs::write(folder.path().join("notes.txt"), "mine").unwrap();
    let tier = DiskTier::open(folder.path(), LIMIT).unwrap();
    assert_eq!(tier.stats().entries, 0);
    let keys = fill(&tier, "a", 5);
    assert_eq!(right_or_absent(&tier, &keys).await, 5);
    assert!(folder.path().join("notes.txt").exists());
}
