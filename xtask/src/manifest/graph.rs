//! Who calls whom: finding the provider of every use, circles, and the levels that follow.

use toml::Spanned;

use super::{
    Environment,
    declaration::{Declaration, UseDeclaration, duplicate},
    diagnostic::{Diagnostic, Rule},
    reader::Findings,
    spelling,
};

/// The providers that every domain uses, by position among the declarations.
pub(super) struct Graph {
    /// For each domain, the provider of each of its uses; `None` where none was found.
    providers: Vec<Vec<Option<usize>>>,
}

impl Graph {
    /// The provider of use number `usage` of `domain`.
    pub(super) fn provider(&self, domain: usize, usage: usize) -> Option<usize> {
        self.providers[domain][usage]
    }

    /// Every edge: a domain, the number of its use, and the provider.
    pub(super) fn edges(&self) -> impl Iterator<Item = (usize, usize, usize)> {
        self.providers.iter().enumerate().flat_map(|(domain, uses)| {
            uses.iter()
                .enumerate()
                .filter_map(move |(usage, provider)| provider.map(|provider| (domain, usage, provider)))
        })
    }

    /// For each domain, one more than the highest level among its providers; the supervisor is at 0 and everybody
    /// else above it. The graph must have no circle.
    pub(super) fn levels(&self) -> Vec<u8> {
        let mut levels = vec![1_u8; self.providers.len()];
        levels[0] = 0;
        // Each round settles at least one more domain of the longest chain.
        for _ in 0..self.providers.len() {
            for (domain, _, provider) in self.edges() {
                levels[domain] = levels[domain].max(levels[provider].saturating_add(1));
            }
        }
        levels
    }
}

/// Finds the provider of every use and reports what has none.
pub(super) fn resolve(domains: &[Declaration], environment: &Environment<'_>, findings: &Findings) -> Graph {
    for domain in domains {
        check_provides(domain, environment, findings);
    }
    let provider_of =
        |client: usize, usage: &UseDeclaration| find_provider(domains, client, usage, environment, findings);
    let providers: Vec<Vec<_>> = domains
        .iter()
        .enumerate()
        .map(|(client, domain)| domain.uses.iter().map(|usage| provider_of(client, usage)).collect())
        .collect();
    let graph = Graph { providers };
    check_repeats(domains, &graph, findings);
    check_use(domains, &graph, environment, findings);
    graph
}

/// Interfaces that are known and listed once; `supervision` is provided by the supervisor alone.
fn check_provides(domain: &Declaration, environment: &Environment<'_>, findings: &Findings) {
    for (position, interface) in domain.provides.iter().enumerate() {
        check_interface(interface, environment, findings);
        let is_same = |earlier: &&Spanned<String>| earlier.get_ref() == interface.get_ref();
        if let Some(earlier) = domain.provides[..position].iter().find(is_same) {
            let message = format!("`{}` provides `{}` twice", domain.name.get_ref(), interface.get_ref());
            findings.report(duplicate(interface.span(), earlier.span(), message));
        }
        if interface.get_ref() == manifest::SUPERVISION && domain.name.get_ref() != manifest::SUPERVISOR {
            findings.report(
                Diagnostic::new(
                    Rule::Misplaced,
                    interface.span(),
                    format!("`{}` cannot provide `supervision`", domain.name.get_ref()),
                )
                .hint("the supervisor provides it by itself: remove the entry"),
            );
        }
    }
}

fn check_interface(interface: &Spanned<String>, environment: &Environment<'_>, findings: &Findings) -> bool {
    let known = environment.interface_id(interface.get_ref()).is_some();
    if !known {
        findings.report(
            Diagnostic::new(
                Rule::UnknownInterface,
                interface.span(),
                format!("there is no interface `{}`", interface.get_ref()),
            )
            .maybe_hint(spelling::hint(interface.get_ref(), environment.interfaces.iter().map(|known| known.name))),
        );
    }
    known
}

fn find_provider(
    domains: &[Declaration],
    client: usize,
    usage: &UseDeclaration,
    environment: &Environment<'_>,
    findings: &Findings,
) -> Option<usize> {
    if !check_interface(&usage.interface, environment, findings) {
        return None;
    }
    let interface = usage.interface.get_ref();
    let provides = |domain: &Declaration| domain.provides.iter().any(|provided| provided.get_ref() == interface);
    if let Some(from) = &usage.from {
        let Some(provider) = domains.iter().position(|domain| domain.name.get_ref() == from.get_ref()) else {
            report_unknown_domain(domains, from, findings);
            return None;
        };
        if !provides(&domains[provider]) {
            report_wrong_provider(domains, provider, usage, from, findings);
            return None;
        }
        return Some(provider);
    }
    // A domain that provides what it uses (an encrypting block server, say) means another's.
    let others: Vec<_> = (0..domains.len()).filter(|&domain| domain != client && provides(&domains[domain])).collect();
    match others[..] {
        [provider] => Some(provider),
        [] => {
            let client = domains[client].name.get_ref();
            findings.report(
                Diagnostic::new(
                    Rule::MissingProvider,
                    usage.interface.span(),
                    format!("`{client}` uses `{interface}`, which no other domain provides"),
                )
                .hint(format!("add a domain with `provides = [\"{interface}\"]`, or remove this use")),
            );
            None
        }
        [_, _, ..] => {
            let names: Vec<_> = others.iter().map(|&domain| format!("`{}`", domains[domain].name.get_ref())).collect();
            let first = domains[others[0]].name.get_ref();
            findings.report(
                Diagnostic::new(
                    Rule::AmbiguousProvider,
                    usage.interface.span(),
                    format!("`{interface}` is provided by {}", names.join(", ")),
                )
                .hint(format!("say which is meant: {{ interface = \"{interface}\", from = \"{first}\" }}")),
            );
            None
        }
    }
}

fn report_unknown_domain(domains: &[Declaration], from: &Spanned<String>, findings: &Findings) {
    let known = domains.iter().map(|domain| domain.name.get_ref().as_str());
    findings.report(
        Diagnostic::new(Rule::UnknownDomain, from.span(), format!("there is no domain `{}`", from.get_ref()))
            .maybe_hint(spelling::hint(from.get_ref(), known)),
    );
}

fn report_wrong_provider(
    domains: &[Declaration],
    provider: usize,
    usage: &UseDeclaration,
    from: &Spanned<String>,
    findings: &Findings,
) {
    let interface = usage.interface.get_ref();
    let named = &domains[provider];
    let provided: Vec<_> = named.provides.iter().map(|provided| format!("`{}`", provided.get_ref())).collect();
    let provided = if provided.is_empty() { "nothing".to_owned() } else { provided.join(", ") };
    let able = domains.iter().find(|domain| domain.provides.iter().any(|provided| provided.get_ref() == interface));
    let hint = match able {
        Some(able) => format!("`{interface}` is provided by `{}`", able.name.get_ref()),
        None => format!("no domain provides `{interface}`"),
    };
    findings.report(
        Diagnostic::new(
            Rule::WrongProvider,
            from.span(),
            format!("`{}` does not provide `{interface}`", from.get_ref()),
        )
        .related(named.name.span(), format!("`{}` provides {provided}", from.get_ref()))
        .hint(hint),
    );
}

/// One client has one capability for an endpoint: a second name for it would be a second session under one badge.
fn check_repeats(domains: &[Declaration], graph: &Graph, findings: &Findings) {
    for (client, usage, provider) in graph.edges() {
        let uses = &domains[client].uses;
        let interface = uses[usage].interface.get_ref();
        let earlier = (0..usage).find(|&other| {
            graph.provider(client, other) == Some(provider) && uses[other].interface.get_ref() == interface
        });
        if let Some(earlier) = earlier {
            let message = format!(
                "`{}` uses `{interface}` from `{}` twice",
                domains[client].name.get_ref(),
                domains[provider].name.get_ref()
            );
            let (span, earlier) = (uses[usage].interface.span(), uses[earlier].interface.span());
            findings.report(duplicate(span, earlier, message));
        }
        if let Some(ring) = uses[usage].ring.as_ref().filter(|_| provider == 0) {
            findings.report(
                Diagnostic::new(Rule::Misplaced, ring.span(), "the supervisor shares no memory with anybody")
                    .hint("remove `ring`"),
            );
        }
        check_lending(&domains[client], usage, findings);
    }
}

/// Memory is lent to whoever is asked through a ring, and it is that of rings which the domain serves.
fn check_lending(client: &Declaration, usage: usize, findings: &Findings) {
    let declared = &client.uses[usage];
    let Some(lent) = &declared.lends else { return };
    let name = client.name.get_ref();
    if declared.ring.is_none() {
        let message = format!("`{name}` has no ring through which to tell what is to be done with the memory");
        findings.report(Diagnostic::new(Rule::Misplaced, lent.span(), message).hint("add `ring`, or remove `lends`"));
    }
    if !client.provides.iter().any(|provided| provided.get_ref() == lent.get_ref()) {
        let message = format!("`{name}` does not provide `{}`, so that it has no rings of that", lent.get_ref());
        let hint = "name an interface that the domain provides, or remove `lends`";
        findings.report(Diagnostic::new(Rule::Misplaced, lent.span(), message).hint(hint));
    }
}

/// Warns of what is provided for nobody; the supervisor's own interface is there in any case.
fn check_use(domains: &[Declaration], graph: &Graph, environment: &Environment<'_>, findings: &Findings) {
    for (provider, domain) in domains.iter().enumerate().skip(1) {
        // A guest without an operator runs all the same, and nobody wrote what it provides.
        for interface in domain.provides.iter().filter(|_| domain.guest.is_none()) {
            let is_used = graph.edges().any(|(client, usage, used)| {
                used == provider && domains[client].uses[usage].interface.get_ref() == interface.get_ref()
            });
            // An unknown interface is reported already, and so is a use that found no provider and may have meant
            // this one.
            let is_known = environment.interface_id(interface.get_ref()).is_some();
            let is_meant = domains.iter().enumerate().any(|(client, domain)| {
                domain.uses.iter().enumerate().any(|(usage, declared)| {
                    graph.provider(client, usage).is_none() && declared.interface.get_ref() == interface.get_ref()
                })
            });
            if is_known && !is_used && !is_meant {
                findings.report(
                    Diagnostic::new(
                        Rule::Unused,
                        interface.span(),
                        format!("nobody uses `{}`, which `{}` provides", interface.get_ref(), domain.name.get_ref()),
                    )
                    .hint("add a use, or remove the entry"),
                );
            }
        }
    }
}

/// Reports every circle of calls that a search from each domain in turn closes.
pub(super) fn check_cycles(domains: &[Declaration], graph: &Graph, findings: &Findings) {
    let mut search = Search { domains, graph, findings, finished: vec![false; domains.len()], path: Vec::new() };
    for domain in 0..domains.len() {
        search.visit(domain);
    }
}

/// A depth-first search; it is as deep as the longest chain of calls, which the number of domains bounds.
struct Search<'a> {
    domains: &'a [Declaration],
    graph: &'a Graph,
    findings: &'a Findings,
    finished: Vec<bool>,
    /// The domains from the start to here, each with the use that leads on.
    path: Vec<(usize, usize)>,
}

impl Search<'_> {
    fn visit(&mut self, domain: usize) {
        if self.finished[domain] {
            return;
        }
        if let Some(start) = self.path.iter().position(|&(on_path, _)| on_path == domain) {
            self.report(start);
            return;
        }
        for usage in 0..self.domains[domain].uses.len() {
            let Some(provider) = self.graph.provider(domain, usage) else {
                continue;
            };
            self.path.push((domain, usage));
            self.visit(provider);
            self.path.pop();
        }
        self.finished[domain] = true;
    }

    /// The circle is the path from `start` to its end, and from there back to `start`.
    fn report(&self, start: usize) {
        let circle = &self.path[start..];
        let name = |domain: usize| self.domains[domain].name.get_ref().as_str();
        let mut names: Vec<_> = circle.iter().map(|&(domain, _)| name(domain)).collect();
        names.push(names[0]);
        let message = if circle.len() == 1 {
            format!("`{}` would call itself", names[0])
        } else {
            format!("calls would go in a circle: {}", names.join(" → "))
        };
        let span = |(domain, usage): (usize, usize)| self.domains[domain].uses[usage].interface.span();
        let label = |at: usize| format!("`{}` uses `{}` here", names[at], names[at + 1]);
        let mut diagnostic = Diagnostic::new(Rule::Cycle, span(circle[0]), message).label(label(0));
        for (at, &edge) in circle.iter().enumerate().skip(1) {
            diagnostic = diagnostic.related(span(edge), label(at));
        }
        self.findings.report(diagnostic.hint(
            "callers in a circle can wait for each other for ever: remove one of these uses; what must go the other \
             way is a reply, a ring or a notification",
        ));
    }
}
