"""What every part of clearspan agrees on: schema, batch, contracts, errors, metric names."""
