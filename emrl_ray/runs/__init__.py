"""What every long verb does to go on after a kill: whose a folder is, commits, progress; knows no Ray."""
