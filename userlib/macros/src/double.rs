//! The double of a server, for tests on the host.

use crate::interface::Interface;
use proc_macro2::TokenStream;
use quote::quote;

pub(crate) fn expand(interface: &Interface) -> TokenStream {
    let Interface { visibility, .. } = interface;
    let [client, server, service, double] = ["Client", "Server", "Service", "Double"].map(|end| interface.named(end));
    let summary = format!("A [`{server}`] in a test, with a plan of what goes wrong: see `userlib::host::Double`.");
    quote! {
        #[doc = #summary]
        #[cfg(not(target_os = "none"))]
        #[derive(Debug)]
        #[allow(dead_code, reason = "not every interface has a test that needs one")]
        #visibility struct #double(::userlib::host::Double);

        #[cfg(not(target_os = "none"))]
        #[allow(dead_code, reason = "not every interface has a test that needs one")]
        impl #double {
            /// A double of a server whose state survives its deaths.
            #visibility fn new(server: impl #server + 'static) -> Self {
                Self(::userlib::host::Double::new(#service::new(server)))
            }

            /// A double of servers of which `make` makes one at once and another one after each death.
            #visibility fn restarting<S: #server + 'static>(make: impl ::core::ops::Fn() -> S + 'static) -> Self {
                Self(::userlib::host::Double::restarting(move || #service::new(make())))
            }

            /// A client of the server, with badge 1.
            #visibility fn client(&self) -> #client {
                self.client_with_badge(1)
            }

            /// Sends the server as many messages by chance as the environment asks for, and makes sure now and then, by the
            /// sound calls of `sound`, that it still works: see `userlib::host::fuzz`. `texts` mean something to it.
            #visibility fn fuzz(
                &self,
                texts: &[&str],
                mut sound: impl ::core::ops::FnMut(#client),
            ) -> ::userlib::host::fuzz::Tally {
                let size = ::userlib::host::fuzz::Size::asked_for();
                let client = self.client();
                ::userlib::host::fuzz::messages(&self.0, &#client::INTERFACE, texts, size, || sound(client))
            }

            /// A client of the server that has this badge.
            #visibility fn client_with_badge(&self, badge: u64) -> #client {
                #client::new(self.0.endpoint(badge))
            }
        }

        #[cfg(not(target_os = "none"))]
        impl ::core::ops::Deref for #double {
            type Target = ::userlib::host::Double;
            fn deref(&self) -> &::userlib::host::Double {
                &self.0
            }
        }
    }
}
