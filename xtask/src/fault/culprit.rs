//! Which fault of a batch it was.

/// Most times that parts of a batch are injected again.
const MOST: usize = 12;

/// The position of the fault that has an effect by itself, if there is one. `executed` are the positions of those that were
/// executed, in that order; `has_effect` injects some again and tells whether what happens is the same.
///
/// The last one that was executed is the first to be suspected. Where it is not that one, halves are tried.
///
/// # Errors
///
/// Those of `has_effect`.
pub(super) fn find<E>(
    executed: &[usize],
    mut has_effect: impl FnMut(&[usize]) -> Result<bool, E>,
) -> Result<Option<usize>, E> {
    let Some((last, others)) = executed.split_last() else { return Ok(None) };
    if has_effect(&[*last])? {
        return Ok(Some(*last));
    }
    let mut suspects = others;
    let mut tries = 1;
    while !suspects.is_empty() && tries + 2 <= MOST {
        let (early, late) = suspects.split_at(suspects.len() / 2);
        tries += 1;
        if has_effect(late)? {
            if let [only] = late {
                return Ok(Some(*only));
            }
            suspects = late;
            continue;
        }
        tries += 1;
        if early.is_empty() || !has_effect(early)? {
            return Ok(None);
        }
        if let [only] = early {
            return Ok(Some(*only));
        }
        suspects = early;
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;

    /// What is found if `guilty` are needed together, and how often something was tried.
    fn found(executed: &[usize], guilty: &[usize]) -> (Option<usize>, usize) {
        let mut tries = 0;
        let effect = |some: &[usize]| {
            tries += 1;
            Ok::<_, Infallible>(guilty.iter().all(|fault| some.contains(fault)))
        };
        let found = find(executed, effect).unwrap_or_default();
        (found, tries)
    }

    #[test]
    fn the_last_one_is_found_at_once() {
        assert_eq!(found(&[4, 1, 7], &[7]), (Some(7), 1));
        assert_eq!(found(&[], &[7]), (None, 0));
    }

    #[test]
    fn whichever_one_it_is_it_is_found() {
        let executed: Vec<usize> = (0..20).collect();
        for guilty in 0..20 {
            assert_eq!(found(&executed, &[guilty]).0, Some(guilty));
        }
    }

    #[test]
    fn what_several_do_together_is_nobodys_alone_and_the_search_ends() {
        let executed: Vec<usize> = (0..1000).collect();
        let (found, tries) = found(&executed, &[3, 900]);
        assert!(found.is_none() && tries <= MOST);
    }
}
