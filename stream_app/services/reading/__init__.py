"""Reading: Faust's consumer with our rules where its own lose records; the group's offsets."""
