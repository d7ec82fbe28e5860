//! Keys of the effects and timers of a step.

/// The place of an effect among those of its step: of several at once, and after how many that were refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) item: Option<usize>,
    pub(super) tried: u32,
}

/// The key of an effect of a step: `charge`, `charge#2` after one refusal, `reserve[3]`, `charge?` for the question what
/// became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct EffectKey<'a> {
    pub(super) step: &'a str,
    pub(super) place: Place,
    pub(super) is_probe: bool,
}

impl EffectKey<'_> {
    pub(super) fn written(self) -> String {
        let Self {
            step,
            place: Place { item, tried },
            is_probe,
        } = self;
        let mut key = step.to_owned();
        if let Some(item) = item {
            key.push_str(&format!("[{item}]"));
        }
        if tried > 0 {
            key.push_str(&format!("#{}", tried + 1));
        }
        if is_probe {
            key.push('?');
        }
        key
    }
}

impl<'a> EffectKey<'a> {
    pub(super) fn read(key: &'a str) -> Self {
        let (key, is_probe) = match key.strip_suffix('?') {
            Some(key) => (key, true),
            None => (key, false),
        };
        let (key, tried) = match key.rsplit_once('#') {
            Some((rest, tried)) => match tried.parse::<u32>() {
                Ok(tried) => (rest, tried.saturating_sub(1)),
                Err(_) => (key, 0),
            },
            None => (key, 0),
        };
        let several = key.strip_suffix(']').and_then(|key| key.split_once('['));
        let (step, item) = match several.and_then(|(id, item)| Some((id, item.parse().ok()?))) {
            Some((id, item)) => (id, Some(item)),
            None => (key, None),
        };
        Self {
            step,
            place: Place { item, tried },
            is_probe,
        }
    }
}

/// The key of the timer of a step.
pub(super) fn timer_of(step: &str) -> String {
    format!("step:{step}")
}

/// The key of the timer after which a person should look at a step.
pub(super) fn look_of(step: &str) -> String {
    format!("look:{step}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_as_it_was_written() {
        for item in [None, Some(0), Some(17)] {
            for tried in [0, 1, 12] {
                for is_probe in [false, true] {
                    let place = Place { item, tried };
                    let key = EffectKey {
                        step: "charge-card",
                        place,
                        is_probe,
                    };
                    assert_eq!(EffectKey::read(&key.written()), key);
                }
            }
        }
    }
}
