"""The servers behind the functions: DynamoDB, and everything else."""
