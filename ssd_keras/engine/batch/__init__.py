"""Detection in millions of images by many processes of Ray Data."""
