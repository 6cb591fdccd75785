"""NAO: a search that climbs in the latent space of an autoencoder of genotypes (docs/strategies.md, section 19)."""
