"""The main job: flights of 2013 from New York City, predicted at departure, judged at arrival."""
