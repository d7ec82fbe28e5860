//! `chronicler repair`: a log that opens again, of one that is damaged.

use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::path::Path;

use chronicler_store::journal::{Repair, RepairAction, RepairPlan};
use serde::Serialize;
use uuid::Uuid;

use crate::damage::DamageLine;
use crate::exit::{Exit, ToolError};
use crate::output::Output;
use crate::progress::bar;
use crate::rebuild::replaying;

/// What `repair` prints before it does anything.
#[derive(Debug, Serialize)]
struct PlanLine {
    dir: String,
    store: Uuid,
    /// "nothing", "mend" or "cut"
    action: &'static str,
    position_after: u64,
    commit_after: u64,
    cut_file: Option<String>,
    cut_offset: Option<u64>,
    lost_commits: u64,
    lost_events: u64,
    lost_at_least: bool,
    whole_commits_set_aside: u64,
    reasons: Vec<String>,
    damage: Vec<DamageLine>,
}

/// What `repair` prints when it is done.
#[derive(Debug, Serialize)]
struct Report {
    repaired: bool,
    set_aside: Option<String>,
    position: u64,
    commit: u64,
    index_set_aside: Option<String>,
}

/// Says what is to be done, asks, and does it.
pub(crate) fn repair(dir: &Path, yes: bool, out: &mut Output<'_>) -> Result<Exit, ToolError> {
    let bar = bar("read", 0);
    let planned = Repair::plan(dir, &|progress| {
        bar.set_length(progress.bytes_of);
        bar.set_position(progress.bytes);
    });
    bar.finish_and_clear();
    let repair = planned?;
    let plan = PlanLine::new(dir, repair.what());
    out.item(&plan, &plan)?;
    out.flush()?;
    let changes = repair.what().action != RepairAction::Nothing;
    if changes && !yes && !(out.is_for_people() && asked()?) {
        let reason = "nothing was changed: with --yes it is done";
        return Err(ToolError::Refused(reason.to_owned()));
    }
    let done = replaying(|options| repair.perform(options))?;
    let report = Report {
        repaired: changes,
        set_aside: done.set_aside.map(|path| path.display().to_string()),
        position: done.end.position.get(),
        commit: done.end.sequence.get(),
        index_set_aside: done.index_set_aside,
    };
    out.item(&report, &report)?;
    Ok(Exit::Done)
}

/// Asks the person at the terminal; where there is none, the answer is no.
fn asked() -> Result<bool, ToolError> {
    if !(io::stdin().is_terminal() && io::stderr().is_terminal()) {
        return Ok(false);
    }
    let mut answer = String::new();
    let mut asking = || {
        io::stderr().write_all(b"Do it? [y/N] ")?;
        io::stdin().read_line(&mut answer)
    };
    asking().map_err(ToolError::Output)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

impl PlanLine {
    fn new(dir: &Path, plan: &RepairPlan) -> Self {
        Self {
            dir: dir.display().to_string(),
            store: plan.store_id,
            action: match plan.action {
                RepairAction::Nothing => "nothing",
                RepairAction::Mend => "mend",
                _ => "cut",
            },
            position_after: plan.end.position.get(),
            commit_after: plan.end.sequence.get(),
            cut_file: plan
                .cut
                .as_ref()
                .map(|(file, _)| file.display().to_string()),
            cut_offset: plan.cut.as_ref().map(|(_, offset)| *offset),
            lost_commits: plan.lost_commits,
            lost_events: plan.lost_events,
            lost_at_least: plan.lost_at_least,
            whole_commits_set_aside: plan.whole_set_aside,
            reasons: plan.reasons.clone(),
            damage: plan.damage.iter().map(DamageLine::from).collect(),
        }
    }
}

impl fmt::Display for PlanLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.dir)?;
        for damage in &self.damage {
            writeln!(f, "{damage}")?;
        }
        for reason in &self.reasons {
            writeln!(f, "  {reason}")?;
        }
        match self.action {
            "nothing" => {
                return write!(
                    f,
                    "  the log is whole: nothing is to be done but to check the index"
                );
            }
            "mend" => {
                return write!(
                    f,
                    "  to do     what is wrong is made again from the commits; none that is there is lost"
                );
            }
            _ => {}
        }
        match (&self.cut_file, self.cut_offset) {
            (Some(file), Some(offset)) => writeln!(f, "  to do     cut {file} at byte {offset}")?,
            _ => writeln!(
                f,
                "  to do     write the head marker anew; no commit is touched"
            )?,
        }
        writeln!(
            f,
            "  end then  position {}, commit {}",
            self.position_after, self.commit_after
        )?;
        if self.lost_commits == 0 {
            return write!(f, "  lost      nothing");
        }
        let least = if self.lost_at_least { "at least " } else { "" };
        write!(
            f,
            "  lost      {least}{} commits ({} to {}), {least}{} events",
            self.lost_commits,
            self.commit_after + 1,
            self.commit_after + self.lost_commits,
            self.lost_events
        )?;
        if self.whole_commits_set_aside > 0 {
            write!(
                f,
                "\n            {} of them are whole; they are set aside, and cannot be exported, because what they followed is gone",
                self.whole_commits_set_aside
            )?;
        }
        write!(
            f,
            "\n            if there is a backup, restore that instead"
        )
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "  done      whole up to position {}, commit {}",
            self.position, self.commit
        )?;
        if let Some(path) = &self.set_aside {
            write!(f, "\n  originals {path}")?;
        }
        if let Some(reason) = &self.index_set_aside {
            write!(f, "\n  index     rebuilt: {reason}")?;
        }
        Ok(())
    }
}
