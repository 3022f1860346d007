"""What AI providers list over HTTP. Providers are data: see `trueup.stores.http.spec`."""
