"""NAO: a search that climbs in the latent space of an autoencoder of genotypes (docs/method.md, section 19)."""
