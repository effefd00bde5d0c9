"""What to do about what is wrong: with a draft (``repair``) and with the user's code (``mend``)."""
