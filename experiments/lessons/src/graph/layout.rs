//! Boxes in layers, so that every edge points down (after Sugiyama, Tagawa and Toda,
//! 1981): layers by longest path, an order in each layer by averages of neighbours,
//! positions by least squares under the order.

/// Between two boxes of a layer.
const GAP: f64 = 24.0;
/// Between two layers.
const RISE: f64 = 44.0;
/// The width that a passing edge keeps free.
const LANE: f64 = 10.0;
const SWEEPS: usize = 12;
const LEAF_WEIGHT: f64 = 0.01;

/// Where everything is.
pub struct Layout {
    /// Left upper corner of every box.
    pub corners: Vec<[f64; 2]>,
    /// For every edge the points where it enters and leaves layers, from the lower side of
    /// its first box to the upper side of its last.
    pub routes: Vec<Vec<[f64; 2]>>,
    /// Width and height of all.
    pub size: [f64; 2],
}

/// A box, or the place where an edge passes a layer.
struct Place {
    layer: usize,
    width: f64,
    height: f64,
    centre: f64,
    above: Vec<usize>,
    below: Vec<usize>,
}

/// Places boxes of these sizes; edges go from lower to higher indices.
pub fn layout(sizes: &[[f64; 2]], edges: &[(usize, usize)]) -> Layout {
    let layer = layers(sizes.len(), edges);
    let mut places: Vec<Place> = sizes
        .iter()
        .zip(&layer)
        .map(|(&[width, height], &layer)| Place {
            layer,
            width,
            height,
            centre: 0.0,
            above: Vec::new(),
            below: Vec::new(),
        })
        .collect();
    let mut chains: Vec<Vec<usize>> = Vec::new();
    for &(from, to) in edges {
        let mut chain = vec![from];
        for layer in layer[from] + 1..layer[to] {
            chain.push(places.len());
            places.push(Place {
                layer,
                width: LANE,
                height: 0.0,
                centre: 0.0,
                above: Vec::new(),
                below: Vec::new(),
            });
        }
        chain.push(to);
        for pair in chain.windows(2) {
            places[pair[0]].below.push(pair[1]);
            places[pair[1]].above.push(pair[0]);
        }
        chains.push(chain);
    }

    let count = places
        .iter()
        .map(|place| place.layer + 1)
        .max()
        .unwrap_or(0);
    let mut rows: Vec<Vec<usize>> = vec![Vec::new(); count];
    for (i, place) in places.iter().enumerate() {
        rows[place.layer].push(i);
    }
    order(&mut places, &mut rows);
    position(&mut places, &rows);

    let mut tops = Vec::with_capacity(count);
    let mut heights = Vec::with_capacity(count);
    let mut y = 0.0;
    for row in &rows {
        let height = row.iter().map(|&i| places[i].height).fold(0.0, f64::max);
        tops.push(y);
        heights.push(height);
        y += height + RISE;
    }
    let left = places
        .iter()
        .map(|place| place.centre - place.width / 2.0)
        .fold(f64::INFINITY, f64::min);
    let right = places
        .iter()
        .map(|place| place.centre + place.width / 2.0)
        .fold(f64::NEG_INFINITY, f64::max);
    let centre = |i: usize| places[i].centre - left;
    // Boxes hang from the lower side of their layer, nearer to who reads them.
    let top = |i: usize| {
        let layer = places[i].layer;
        tops[layer] + heights[layer] - places[i].height
    };
    let routes = chains
        .iter()
        .map(|chain| {
            let mut route = Vec::new();
            for (step, &i) in chain.iter().enumerate() {
                let layer = places[i].layer;
                if step > 0 {
                    let inner = step + 1 < chain.len();
                    route.push([centre(i), tops[layer]]);
                    if !inner && top(i) > tops[layer] {
                        route.push([centre(i), top(i)]);
                    }
                }
                if step + 1 < chain.len() {
                    route.push([centre(i), tops[layer] + heights[layer]]);
                }
            }
            route
        })
        .collect();
    Layout {
        corners: (0..sizes.len())
            .map(|i| [centre(i) - places[i].width / 2.0, top(i)])
            .collect(),
        routes,
        size: [(right - left).max(0.0), (y - RISE).max(0.0)],
    }
}

impl Place {
    /// How strongly it draws and stays: a leaf makes room for what leads on, which would else move
    /// half a box to the side at every leaf and leave a corner of the drawing empty.
    fn weight(&self) -> f64 {
        match self.above.len() + self.below.len() {
            0 | 1 => LEAF_WEIGHT,
            _ => 1.0,
        }
    }
}

/// Longest path from a source; a source goes just above its first reader.
fn layers(count: usize, edges: &[(usize, usize)]) -> Vec<usize> {
    let mut layer = vec![0; count];
    let mut by_end: Vec<_> = edges.to_vec();
    by_end.sort_by_key(|&(_, to)| to);
    for &(from, to) in &by_end {
        assert!(from < to, "layout: an edge goes back");
        layer[to] = layer[to].max(layer[from] + 1);
    }
    for i in 0..count {
        let is_source = edges.iter().all(|&(_, to)| to != i);
        let readers = edges.iter().filter(|&&(from, _)| from == i);
        if is_source && let Some(first) = readers.map(|&(_, to)| layer[to]).min() {
            layer[i] = first - 1;
        }
    }
    layer
}

/// Sorts every layer by the average place of its neighbours, down and up in turn.
fn order(places: &mut [Place], rows: &mut [Vec<usize>]) {
    let count = rows.len();
    let mut rank = vec![0.0; places.len()];
    let number = |row: &[usize], rank: &mut [f64]| {
        let middle = (row.len() as f64 - 1.0) / 2.0;
        for (at, &i) in row.iter().enumerate() {
            rank[i] = at as f64 - middle;
        }
    };
    rows.iter().for_each(|row| number(row, &mut rank));
    for sweep in 0..SWEEPS {
        for step in 0..count {
            let down = sweep % 2 == 0;
            let at = if down { step } else { count - 1 - step };
            let key = |i: usize| {
                let towards = if down {
                    &places[i].above
                } else {
                    &places[i].below
                };
                match towards.len() {
                    0 => rank[i],
                    len => towards.iter().map(|&j| rank[j]).sum::<f64>() / len as f64,
                }
            };
            let mut keyed: Vec<_> = rows[at].iter().map(|&i| (key(i), i)).collect();
            keyed.sort_by(|a, b| a.0.total_cmp(&b.0));
            rows[at] = keyed.into_iter().map(|(_, i)| i).collect();
            number(&rows[at], &mut rank);
        }
    }
}

/// Moves every layer as near to the average of its neighbours as its order allows.
fn position(places: &mut [Place], rows: &[Vec<usize>]) {
    for row in rows {
        place_row(places, row, &vec![0.0; row.len()]);
    }
    for sweep in 0..2 * SWEEPS {
        for step in 0..rows.len() {
            let at = if sweep % 2 == 0 {
                step
            } else {
                rows.len() - 1 - step
            };
            let wanted: Vec<f64> = rows[at]
                .iter()
                .map(|&i| {
                    let neighbours = places[i].above.iter().chain(&places[i].below);
                    let (sum, weight) = neighbours.fold((0.0, 0.0), |(sum, weight), &j| {
                        let of_one = places[j].weight();
                        (sum + of_one * places[j].centre, weight + of_one)
                    });
                    if weight == 0.0 {
                        places[i].centre
                    } else {
                        sum / weight
                    }
                })
                .collect();
            place_row(places, &rows[at], &wanted);
        }
    }
}

/// The centres nearest to the wanted ones (weighted least squares) with room for every box:
/// neighbours that would overlap are pooled into blocks.
fn place_row(places: &mut [Place], row: &[usize], wanted: &[f64]) {
    let mut offset = 0.0;
    // Mean of wanted minus offset, weight, and members.
    let mut blocks: Vec<(f64, f64, usize)> = Vec::new();
    let mut offsets = Vec::with_capacity(row.len());
    for (at, &i) in row.iter().enumerate() {
        if at > 0 {
            offset += (places[row[at - 1]].width + places[i].width) / 2.0 + GAP;
        }
        offsets.push(offset);
        let mut block = (wanted[at] - offset, places[i].weight(), 1);
        while let Some(&(mean, weight, count)) = blocks.last()
            && mean >= block.0
        {
            let total = mean * weight + block.0 * block.1;
            let weights = weight + block.1;
            block = (total / weights, weights, count + block.2);
            blocks.pop();
        }
        blocks.push(block);
    }
    let members = blocks
        .iter()
        .flat_map(|&(mean, _, count)| std::iter::repeat_n(mean, count));
    for ((&i, offset), mean) in row.iter().zip(offsets).zip(members) {
        places[i].centre = mean + offset;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: [f64; 2] = [80.0, 30.0];

    #[test]
    fn edges_point_down_and_boxes_keep_apart() {
        let edges = [
            (0, 2),
            (1, 2),
            (2, 3),
            (2, 4),
            (0, 5),
            (3, 5),
            (4, 5),
            (5, 6),
            (0, 6),
        ];
        let drawn = layout(&[SIZE; 7], &edges);
        for (route, (from, to)) in drawn.routes.iter().zip(edges) {
            assert!(route.windows(2).all(|pair| pair[0][1] <= pair[1][1] + 1e-9));
            assert_eq!(route[0][1], drawn.corners[from][1] + SIZE[1]);
            assert_eq!(route[route.len() - 1][1], drawn.corners[to][1]);
        }
        for (i, a) in drawn.corners.iter().enumerate() {
            assert!(a[0] >= -1e-9 && a[0] + SIZE[0] <= drawn.size[0] + 1e-9);
            for b in &drawn.corners[i + 1..] {
                let aside = (a[0] - b[0]).abs() >= SIZE[0];
                let below = (a[1] - b[1]).abs() >= SIZE[1];
                assert!(aside || below, "{a:?} {b:?}");
            }
        }
    }

    /// A chain of operations, each with a weight of its own: 0, 2, 4, .. on the chain, 1, 3, .. beside.
    #[test]
    fn a_chain_with_leaves_is_straight_and_leaves_no_corner_empty() {
        let links = (0..20).flat_map(|k| [(2 * k, 2 * k + 2), (2 * k + 1, 2 * k + 2)]);
        let drawn = layout(&[SIZE; 41], &links.collect::<Vec<_>>());
        let chain: Vec<f64> = drawn
            .corners
            .iter()
            .step_by(2)
            .map(|corner| corner[0])
            .collect();
        let away = chain.iter().map(|x| (x - chain[0]).abs());
        assert!(away.fold(0.0, f64::max) < SIZE[0], "{chain:?}");
        assert!(drawn.size[0] < 4.0 * SIZE[0], "{:?}", drawn.size);
    }

    #[test]
    fn a_leaf_stands_right_above_its_reader() {
        let drawn = layout(&[SIZE; 4], &[(0, 1), (1, 3), (2, 3)]);
        assert_eq!(drawn.corners[2][1], drawn.corners[1][1]);
    }

    #[test]
    fn nothing_to_draw_is_no_mistake() {
        assert_eq!(layout(&[], &[]).size, [0.0, 0.0]);
    }
}
