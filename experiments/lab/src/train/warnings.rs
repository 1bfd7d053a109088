//! A remark on a validation loss that is worse than guessing.

use crate::data::DataAccount;

/// A kind of file whose shares of the two parts differ by more than this makes them unlike.
const UNLIKE: f64 = 0.3;
/// A network whose training loss is below this part of that of guessing has learned something.
const LEARNED: f64 = 0.9;

/// Returns a remark on a `validation` loss above `guess`, that of whoever answers without looking;
/// `None` of one below it. The likely reason is in the data, in the `training` loss, or unknown.
pub(super) fn worse_than_guessing(
    validation: f64,
    training: Option<f64>,
    guess: f64,
    data: &DataAccount,
) -> Option<String> {
    if validation <= guess {
        return None;
    }
    let kinds = data.training.kinds.keys();
    let shares = kinds.chain(data.validation.kinds.keys()).map(|kind| {
        let shares = [&data.training, &data.validation].map(|part| part.fraction(kind));
        (kind, shares)
    });
    let unlike = |[training, validation]: [f64; 2]| (training - validation).abs();
    let most = shares.max_by(|a, b| unlike(a.1).total_cmp(&unlike(b.1)));
    let reason = match (most, training) {
        (Some((kind, shares)), _) if unlike(shares) > UNLIKE => {
            let [training, validation] = shares.map(|share| 100.0 * share);
            format!(
                "what validates is unlike what is trained on: {validation:.0} % of it is {kind}, \
                 of the training part {training:.0} %"
            )
        }
        (_, Some(loss)) if loss < LEARNED * guess => format!(
            "the training loss is {loss:.3}, so the network knows the {} {} of the training part \
             and nothing that holds beyond them: train on more data, or for fewer steps",
            data.training.amount,
            data.unit.name()
        ),
        _ => "the training loss is hardly better, if at all: try a smaller train.learning_rate or more steps"
            .to_owned(),
    };
    Some(format!(
        "the validation loss {validation:.3} is worse than guessing ({guess:.3}): {reason}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{FileRead, Unit};

    fn account(files: &[(&str, u64, u64)]) -> DataAccount {
        let mut account = DataAccount::new("notes", Unit::Bytes);
        for &(kind, training, validation) in files {
            account.read(FileRead {
                kind: kind.to_owned(),
                training,
                validation,
                ..FileRead::default()
            });
        }
        account
    }

    #[test]
    fn a_loss_above_that_of_guessing_is_explained_by_what_is_known() {
        let even = account(&[("txt", 900, 100)]);
        assert_eq!(worse_than_guessing(5.5, Some(6.0), 5.545, &even), None);
        let say = |training, data: &DataAccount| {
            worse_than_guessing(6.7, Some(training), 5.545, data).expect("worse")
        };
        let unlike = account(&[("txt", 900, 0), ("md", 0, 100)]);
        assert!(say(2.0, &unlike).contains("100 % of it is"));
        let overfitted = say(0.5, &even);
        assert!(overfitted.contains("knows the 900 bytes"), "{overfitted}");
        for loss in [5.4, 6.0] {
            assert!(say(loss, &even).contains("smaller train.learning_rate"));
        }
    }
}
