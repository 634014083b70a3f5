//! What a wire does to frames, and what an attacker does.

use super::*;

/// Losses, repetitions, changes of order, and bytes that are not as they should be.
pub fn disturb(random: &mut Random, shots: &mut Vec<Shot>) {
    if random.percent(10) && shots.len() > 1 {
        shots.remove(random.below(shots.len()));
    }
    if random.percent(10) && shots.len() > 1 {
        let (a, b) = (random.below(shots.len()), random.below(shots.len()));
        shots.swap(a, b);
    }
    for shot in shots {
        if random.percent(9) {
            mutate(random, shot);
        }
        if random.percent(3) {
            shot.link = random.below(LINKS.len());
        }
        if random.percent(2) {
            shot.hook = shot.hook.opposite();
        }
        shot.gso = random.percent(2);
    }
}

/// Flipped bits, lost and added bytes, lengths that lie. Mostly in the headers.
fn mutate(random: &mut Random, shot: &mut Shot) {
    let bytes = &mut shot.bytes;
    let start = if LINKS[shot.link].starts_with('t') { 0 } else { 12 };
    match random.below(6) {
        0 => bytes.truncate(random.below(bytes.len() + 1)),
        1 => bytes.extend(vec![0; random.below(20)]),
        2 => {
            // The length of either IP header, seen without tags.
            let at = start + if start == 0 { 2 } else { 4 } + 2 * random.below(2);
            if let Some(place) = bytes.get_mut(at..at + 2) {
                let lie = if random.percent(30) {
                    0
                } else {
                    u16::from_be_bytes([place[0], place[1]]).wrapping_add(random.below(9) as u16).wrapping_sub(4)
                };
                place.copy_from_slice(&lie.to_be_bytes());
            }
        }
        _ => {
            for _ in 0..1 + random.below(2) {
                let end = bytes.len().min(start + 80);
                if end > start {
                    let at = start + random.below(end - start);
                    if let Some(byte) = bytes.get_mut(at) {
                        *byte ^= 1 << random.below(8);
                    }
                }
            }
        }
    }
}
