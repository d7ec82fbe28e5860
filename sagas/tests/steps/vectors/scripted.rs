//! Scripts of commands and replies: FTGO, and Eventuate Tram without its end-to-end tests.

use chronicler_sagas::steps::StepSaga;
use chronicler_sagas::{EffectState, EffectView, Ending, Request, SagaStatus};
use chronicler_store::codec::{CodecId, decode};
use serde_json::Value;

use super::definitions::{Conditional, CreateOrder, Local, Notification};
use crate::parts::PartCommand;
use crate::world::World;

pub(super) async fn hold(name: &str, case: &Value) {
    match name.split('.').nth(1).unwrap() {
        _ if name.starts_with("ftgo.") => play::<CreateOrder>(name, case).await,
        "conditional" => play::<Conditional>(name, case).await,
        "local" if case["script"][1]["expect_command"] == "ReserveInventory" => {
            play::<Notification>(name, case).await;
        }
        "local" => play::<Local>(name, case).await,
        "notification" => play::<Notification>(name, case).await,
        other => panic!("nobody plays {other}"),
    }
}

async fn play<S: StepSaga>(name: &str, case: &Value) {
    let script = case["script"].as_array().unwrap();
    let said = |line: &Value, what: &str| line[what].as_str().map(str::to_owned);
    let world = World::<S>::new().await;
    // What the saga's own step says is told by its id.
    let local = script.iter().find(|line| line["local_step"].is_string());
    let id = match (local, &case["condition"]) {
        (Some(line), _) => said(line, "reply").unwrap(),
        (None, Value::Bool(false)) => "unconditionally".to_owned(),
        _ => "saga".to_owned(),
    };
    let mut expected = Vec::new();
    for line in script {
        let command = said(line, "expect_command").or_else(|| said(line, "expect_notification"));
        let Some(command) = command else {
            continue;
        };
        let to = said(line, "to").unwrap();
        if line["reply"] == "fail" {
            world.refuse(&to, &[&command]).await;
        }
        expected.push((to, command));
    }
    world.begin(&id).await;
    assert_eq!(sent(&world, &id).await, expected, "{name}");
    let status = world.status(&id).await;
    let is_right = match case["end"].as_str().unwrap() {
        "completed" => {
            status
                == SagaStatus::Ended {
                    how: Ending::Completed,
                }
        }
        "rolled_back" => matches!(
            status,
            SagaStatus::Ended {
                how: Ending::Compensated { .. }
            }
        ),
        // What nobody declared as a reason to undo is for a person: the instance is set aside as it is.
        "error" => matches!(status, SagaStatus::Quarantined { .. }),
        other => panic!("{name} ends with {other}"),
    };
    assert!(is_right, "{name}: {status:?}");
}

/// The commands in the order in which they were decided, then what was undone in the order in which it was.
async fn sent<S: StepSaga>(world: &World<S>, id: &str) -> Vec<(String, String)> {
    let view = world.view(id).await;
    let mut sent: Vec<_> = view.effects.iter().filter_map(command).collect();
    let done = view.effects.iter();
    let done = done.filter(|effect| effect.state == EffectState::Done);
    let forward = done.filter_map(command).count();
    sent.extend(world.did().await.into_iter().skip(forward));
    sent
}

fn command(effect: &EffectView) -> Option<(String, String)> {
    let Request::Command {
        category,
        id,
        codec,
        command,
    } = &effect.spec.request
    else {
        return None;
    };
    let codec = CodecId::new(*codec);
    let what = match category.as_str() {
        "part" => match decode(codec, command).unwrap() {
            PartCommand::Do(what) => what,
            PartCommand::Refuse(_) => return None,
        },
        _ => decode(codec, command).unwrap(),
    };
    Some((id.clone(), what))
}
