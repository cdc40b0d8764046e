"""The rule that refuses a picture which is not a brain MRI slice like those that a network was trained on."""
