//! Mismatches as files: each is policies, frames and the verdicts that are wanted, and is played on every run.
//!
//! A mismatch that is found is shrunk and written beside the build's other results, with the judge's verdicts. Whoever mends it settles
//! which verdicts are right and puts the file into `tests/regressions`.

mod file;

use std::fs;
use std::path::{Path, PathBuf};

use netpol_ebpf::policy::reason::Reason;

use crate::bench::Bench;
use crate::pure::{Pure, judge_alone};
use crate::scenario::{Mismatch, Play, Stage, tell};
use file::{ACCEPTED, Regression, read, text};

/// Writes what was found; returns where.
pub fn write(found_by: &str, room: u32, stages: &[Stage], mismatch: &Mismatch) -> PathBuf {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("regressions");
    fs::create_dir_all(&directory).unwrap();
    let place = mismatch.shot.map_or("at the end of the stage".to_owned(), |shot| format!("at frame {shot}, counted from 0"));
    let about = format!("Found by {found_by}.\nStage {}, {place}:\n{}\nThe verdicts below are the judge's.", mismatch.stage, mismatch.what);
    let path = directory.join(format!("{}.toml", found_by.replace(|c: char| !c.is_ascii_alphanumeric(), "-")));
    fs::write(&path, text(&about, room, stages, &judge_alone(stages))).unwrap();
    path
}

/// All files, by name.
fn all() -> Vec<Regression> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/regressions");
    let mut paths: Vec<PathBuf> = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
    paths.sort();
    let one = |path: &PathBuf| read(&path.file_name().unwrap().to_string_lossy(), &fs::read_to_string(path).unwrap());
    paths.iter().map(one).collect()
}

fn hold(regression: &Regression, who: &str, said: &[Option<Reason>]) {
    let said: Vec<&str> = said.iter().map(|reason| reason.map_or(ACCEPTED, Reason::name)).collect();
    assert_eq!(said, regression.wanted, "{}: what {who} of each frame, and what is wanted", regression.name);
}

#[test]
fn regressions_are_judged_as_wanted() {
    let (all, mut pure) = (all(), Pure::new());
    assert!(!all.is_empty());
    for regression in &all {
        hold(regression, "the judge says", &judge_alone(&regression.stages));
        if let Err(mismatch) = pure.play(&regression.stages) {
            panic!("{}{}", regression.name, tell(&regression.stages, &mismatch));
        }
    }
    if !crate::may_run() {
        return;
    }
    let mut rooms: Vec<u32> = all.iter().map(|regression| regression.room).collect();
    rooms.sort_unstable();
    rooms.dedup();
    for room in rooms {
        let mut bench = Bench::new(&format!("regressions-{room}"), room);
        for regression in all.iter().filter(|regression| regression.room == room) {
            for shot in regression.stages.iter().flat_map(|stage| &stage.shots) {
                assert!(bench.is_possible(shot), "{}: cannot be run: {shot:?}", regression.name);
            }
            match bench.play(&regression.stages) {
                Ok(said) => hold(regression, "judge and programs say", &said),
                Err(mismatch) => panic!("{}{}", regression.name, tell(&regression.stages, &mismatch)),
            }
        }
    }
    crate::aloud(&format!("{} regressions judged as wanted by judge, tables and programs", all.len()));
}

#[test]
fn what_is_written_is_what_is_read() {
    let random = &mut crate::random::Random::new(7);
    let stages: Vec<Stage> = (0..3)
        .map(|_| Stage {
            text: crate::policies::text(random, 24),
            paths: crate::policies::paths(random),
            shots: crate::traffic::shots(random, 300),
        })
        .collect();
    let wanted = vec![Some(Reason::Bogon); stages.iter().map(|stage| stage.shots.len()).sum()];
    let written = text("What\n\nit is.", 24, &stages, &wanted);
    let again = read("written", &written);
    assert_eq!((again.room, again.wanted.len()), (24, wanted.len()));
    assert!(again.wanted.iter().all(|reason| reason == "bogon"));
    for (one, other) in stages.iter().zip(&again.stages) {
        assert_eq!((one.text.toml(), &one.paths, &one.shots), (other.text.toml(), &other.paths, &other.shots));
    }
}
