"""What models are measured by: exam items, their answers, entities, overlap with references, and intervals."""
