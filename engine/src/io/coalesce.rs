//! Turns missing pages into few requests.
//!
//! In: pages that are wanted and missing, the file's layout, a cost model. Out: requests, each with the pages it brings.
//! Gaps are read through where that is cheaper than a request; a request is extended over small neighbouring pages that
//! are likely to be wanted soon; a very long one is divided, to run in parallel.

use std::ops::Range;

use super::cost_model::CostModel;
use super::layout::Layout;

/// A request longer than this is divided between pages.
const REQUEST_BYTES_MAX: u64 = 16 << 20;
/// A request may always grow by this much, however small it is; beyond, by half of itself.
const GROWTH_BYTES_MIN: u64 = 512 << 10;

/// One ranged GET, and the pages in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) range: Range<u64>,
    /// In file order; the gaps between them are read and dropped.
    pub(crate) pages: Vec<Range<u64>>,
}

/// The requests for `missing` pages. `known` says which pages need not be read again.
pub(crate) fn requests(
    mut missing: Vec<Range<u64>>,
    layout: &Layout,
    cost: &CostModel,
    known: impl Fn(&Range<u64>) -> bool,
) -> Vec<Request> {
    missing.sort_by_key(|page| page.start);
    missing.dedup();
    let gap = cost.gap_bytes();
    let mut requests: Vec<Request> = Vec::new();
    for page in missing {
        match requests.last_mut() {
            Some(last) if joins(last, &page, gap) => {
                // Chunks of a damaged footer may overlap.
                last.range.end = last.range.end.max(page.end);
                last.pages.push(page);
            }
            _ => requests.push(Request { range: page.clone(), pages: vec![page] }),
        }
    }
    let neighbour = cost.neighbour_bytes();
    for position in 0..requests.len() {
        let floor = if position == 0 { 0 } else { requests[position - 1].range.end };
        let ceiling = requests.get(position + 1).map_or(u64::MAX, |next| next.range.start);
        extend(&mut requests[position], layout, neighbour, floor..ceiling, &known);
    }
    requests
}

fn joins(last: &Request, page: &Range<u64>, gap: u64) -> bool {
    page.start.saturating_sub(last.range.end) <= gap && page.end - last.range.start <= REQUEST_BYTES_MAX
}

/// Adds whole pages after and before a request, while each side stays below `side_bytes` and both below half of it.
fn extend(
    request: &mut Request,
    layout: &Layout,
    side_bytes: u64,
    within: Range<u64>,
    known: &impl Fn(&Range<u64>) -> bool,
) {
    let own = request.range.end - request.range.start;
    let mut growth = (own / 2).max(GROWTH_BYTES_MIN);
    let fits = |page: &Range<u64>, side: u64, growth: u64| {
        let bytes = page.end - page.start;
        page.start >= within.start
            && page.end <= within.end
            && side + bytes <= side_bytes
            && bytes <= growth
            && !known(page)
    };
    let mut side = 0;
    while let Some(page) = layout.after(request.range.end).filter(|page| fits(page, side, growth)) {
        side += page.end - page.start;
        growth -= page.end - page.start;
        request.range.end = page.end;
        request.pages.push(page);
    }
    side = 0;
    while let Some(page) = layout.before(request.range.start).filter(|page| fits(page, side, growth)) {
        side += page.end - page.start;
        growth -= page.end - page.start;
        request.range.start = page.start;
        request.pages.insert(0, page);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn layout(sizes: &[u64]) -> (Layout, Vec<Range<u64>>) {
        let mut start = 0;
        let pages: Vec<Range<u64>> = sizes
            .iter()
            .map(|size| {
                let page = start..start + size * MIB;
                start = page.end;
                page
            })
            .collect();
        (Layout::of(pages.clone()), pages)
    }

    #[test]
    fn a_gap_is_read_through_while_it_is_cheaper_than_a_request() {
        let (layout, pages) = layout(&[1, 2, 1, 4, 1]);
        let wanted = vec![pages[0].clone(), pages[2].clone(), pages[4].clone()];
        let cost = CostModel::new(0.0, Some(2 * MIB));
        let requests = requests(wanted, &layout, &cost, |_| true);
        let ranges: Vec<_> = requests.iter().map(|request| request.range.clone()).collect();
        assert_eq!(ranges, vec![0..4 * MIB, 8 * MIB..9 * MIB]);
        assert_eq!(requests[0].pages, [pages[0].clone(), pages[2].clone()]);
    }

    #[test]
    fn a_long_read_is_divided_and_each_page_is_in_one_request() {
        let (layout, pages) = layout(&[6; 10]);
        let cost = CostModel::new(0.0, Some(MIB));
        let requests = requests(pages.clone(), &layout, &cost, |_| false);
        assert!(requests.iter().all(|request| request.range.end - request.range.start <= REQUEST_BYTES_MAX));
        let brought: Vec<_> = requests.into_iter().flat_map(|request| request.pages).collect();
        assert_eq!(brought, pages);
    }

    #[test]
    fn a_request_takes_small_unknown_neighbours_along() {
        let (layout, pages) = layout(&[1, 4, 1, 3]);
        let cost = CostModel::new(0.0, Some(2 * MIB));
        let take = |known: usize| {
            let known = pages[known].clone();
            requests(vec![pages[1].clone()], &layout, &cost, |page| *page == known).remove(0).pages
        };
        assert_eq!(take(3), [pages[0].clone(), pages[1].clone(), pages[2].clone()]);
        assert_eq!(take(2), [pages[0].clone(), pages[1].clone()]);
    }
}
