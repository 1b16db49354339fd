//! Which worker reads which piece of which file: rendezvous hashing with bounded loads.
//!
//! Each piece has an order of preference among the workers that depends on nothing but their names (Thaler and
//! Ravishankar, 1998), so that a piece meets the pages of its last reading, and 1/n of the pieces move when a worker
//! comes or goes. A worker that has its share already leaves a piece to the next (Mirrokni et al., SODA 2018).

use std::cmp::Reverse;
use std::sync::Arc;

use datafusion::datasource::listing::PartitionedFile;
use twox_hash::XxHash64;
use url::Url;

use crate::scan::piece_bytes;

/// A worker's share may exceed the mean by this part of it.
const EXCESS: u64 = 4;

/// A process that runs tasks.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Worker {
    /// What pieces are placed by: stays when the worker comes back with the same cache.
    pub(crate) id: Arc<str>,
    /// Where it is called.
    pub(crate) url: Url,
}

/// The workers of one attempt to run a query; never none.
#[derive(Debug, Clone)]
pub(crate) struct Placement {
    workers: Vec<Worker>,
}

impl Placement {
    /// `None` without workers.
    pub(crate) fn new(mut workers: Vec<Worker>) -> Option<Self> {
        workers.sort();
        workers.dedup();
        (!workers.is_empty()).then_some(Self { workers })
    }

    /// Tasks of a stage that reads files. A single worker runs two: between one task and one, the distributed planner
    /// would see no boundary and leave all of the plan here.
    pub(crate) fn tasks(&self) -> usize {
        self.workers.len().max(2)
    }

    /// The worker of a task.
    pub(crate) fn worker(&self, task: usize) -> &Worker {
        &self.workers[task % self.workers.len()]
    }

    /// Where the workers are.
    pub(crate) fn urls(&self) -> Vec<Url> {
        (0..self.tasks()).map(|task| self.worker(task).url.clone()).collect()
    }

    /// Each worker once.
    pub(crate) fn peers(&self) -> Vec<String> {
        self.workers.iter().map(|worker| worker.url.to_string()).collect()
    }

    /// Whether all workers are on this machine.
    pub(crate) fn is_local(&self) -> bool {
        self.workers.iter().all(|worker| match worker.url.host() {
            Some(url::Host::Ipv4(ip)) => ip.is_loopback(),
            Some(url::Host::Ipv6(ip)) => ip.is_loopback(),
            _ => false,
        })
    }

    /// The pieces of each task.
    pub(crate) fn assign(&self, pieces: Vec<PartitionedFile>) -> Vec<Vec<PartitionedFile>> {
        let tasks = self.tasks();
        let mut pieces: Vec<(u64, PartitionedFile)> = pieces.into_iter().map(|piece| (bytes(&piece), piece)).collect();
        pieces.sort_by(|(left_bytes, left), (right_bytes, right)| {
            (Reverse(left_bytes), name(left)).cmp(&(Reverse(right_bytes), name(right)))
        });
        let total: u64 = pieces.iter().map(|(bytes, _)| bytes).sum();
        let mean = total / tasks as u64;
        let limit = mean + mean / EXCESS + pieces.first().map_or(0, |(bytes, _)| *bytes);
        let mut assigned = vec![Vec::new(); tasks];
        let mut loads = vec![0; tasks];
        for (bytes, piece) in pieces {
            let fits = (0..tasks).filter(|task| loads[*task] + bytes <= limit);
            // There is one: not all can be above the mean.
            let task = fits.max_by_key(|task| self.preference(*task, &piece)).unwrap_or(0);
            loads[task] += bytes;
            assigned[task].push(piece);
        }
        assigned
    }

    /// The task whose worker a piece prefers.
    pub(crate) fn preferred(&self, piece: &PartitionedFile) -> usize {
        (0..self.tasks()).max_by_key(|task| self.preference(*task, piece)).unwrap_or(0)
    }

    fn preference(&self, task: usize, piece: &PartitionedFile) -> u64 {
        let (location, start) = name(piece);
        let seed = XxHash64::oneshot(task as u64 / self.workers.len() as u64, self.worker(task).id.as_bytes());
        XxHash64::oneshot(seed ^ start.rotate_left(32), location.as_bytes())
    }
}

fn name(piece: &PartitionedFile) -> (&str, u64) {
    (piece.object_meta.location.as_ref(), piece.range.as_ref().map_or(0, |range| range.start as u64))
}

/// Bytes of a piece; at least one, so that empty ones are spread, too.
pub(crate) fn bytes(piece: &PartitionedFile) -> u64 {
    piece_bytes(piece).max(1)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    fn placement(workers: usize) -> Placement {
        let worker = |number: usize| Worker {
            id: Arc::from(format!("worker-{number}")),
            url: Url::parse(&format!("http://127.0.0.1:{}", 1000 + number)).unwrap(),
        };
        Placement::new((0..workers).map(worker).collect()).unwrap()
    }

    fn pieces(count: usize) -> Vec<PartitionedFile> {
        (0..count).map(|number| PartitionedFile::new(format!("t/data/{number}.parquet"), 1000)).collect()
    }

    fn by_piece(placement: &Placement, count: usize) -> HashMap<String, Arc<str>> {
        let assigned = placement.assign(pieces(count));
        let named = assigned.into_iter().enumerate().flat_map(|(task, pieces)| {
            let id = Arc::clone(&placement.worker(task).id);
            pieces.into_iter().map(move |piece| (name(&piece).0.to_owned(), Arc::clone(&id)))
        });
        named.collect()
    }

    #[test]
    fn loads_are_bounded_and_every_piece_is_read_once() {
        for workers in [1, 2, 3, 8] {
            let assigned = placement(workers).assign(pieces(1000));
            assert_eq!(assigned.iter().map(Vec::len).sum::<usize>(), 1000);
            let share = 1000 / workers.max(2);
            assert!(assigned.iter().all(|pieces| pieces.len() <= share + share / 4 + 1), "{workers} workers");
        }
    }

    #[test]
    fn few_pieces_move_when_a_worker_comes() {
        let (before, after) = (by_piece(&placement(3), 1000), by_piece(&placement(4), 1000));
        let moved = before.iter().filter(|(piece, worker)| after[*piece] != **worker).count();
        assert!(moved <= 400, "{moved} of 1000 pieces moved");
        assert_eq!(by_piece(&placement(3), 1000), before, "placement is the same each time");
    }
}
