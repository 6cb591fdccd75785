"""The official class names of the data sets, in index order (sorted by code point).

Mirrors spell them with spaces, underscores or in lower case. `canonical` maps such a spelling to the official
one, so that the class order of a prepared folder does not depend on the mirror. Sources: the directory names
of the official downloads, `docs/datasets.md`.
"""

from __future__ import annotations

AID = (
    "Airport BareLand BaseballField Beach Bridge Center Church Commercial DenseResidential Desert Farmland "
    "Forest Industrial Meadow MediumResidential Mountain Park Parking Playground Pond Port RailwayStation "
    "Resort River School SparseResidential Square Stadium StorageTanks Viaduct"
).split()

NWPU = (
    "airplane airport baseball_diamond basketball_court beach bridge chaparral church circular_farmland cloud "
    "commercial_area dense_residential desert forest freeway golf_course ground_track_field harbor "
    "industrial_area intersection island lake meadow medium_residential mobile_home_park mountain overpass "
    "palace parking_lot railway railway_station rectangular_farmland river roundabout runway sea_ice ship "
    "snowberg sparse_residential stadium storage_tank tennis_court terrace thermal_power_station wetland"
).split()

# The capital letters make it the first class: lower-casing it would shift every index.
SPORT8 = "RockClimbing badminton bocce croquet polo rowing sailing snowboarding".split()

# `kindergarden`, `stairscase` and `jewelleryshop` are spelled as in the official download.
MIT67 = (
    "airport_inside artstudio auditorium bakery bar bathroom bedroom bookstore bowling buffet casino "
    "children_room church_inside classroom cloister closet clothingstore computerroom concert_hall corridor "
    "deli dentaloffice dining_room elevator fastfood_restaurant florist gameroom garage greenhouse "
    "grocerystore gym hairsalon hospitalroom inside_bus inside_subway jewelleryshop kindergarden kitchen "
    "laboratorywet laundromat library livingroom lobby locker_room mall meeting_room movietheater museum "
    "nursery office operating_room pantry poolinside prisoncell restaurant restaurant_kitchen shoeshop "
    "stairscase studiomusic subway toystore trainstation tv_studio videostore waitingroom warehouse winecellar"
).split()

PLANTVILLAGE = (
    "Apple___Apple_scab | Apple___Black_rot | Apple___Cedar_apple_rust | Apple___healthy | Blueberry___healthy | "
    "Cherry_(including_sour)___Powdery_mildew | Cherry_(including_sour)___healthy | "
    "Corn_(maize)___Cercospora_leaf_spot Gray_leaf_spot | Corn_(maize)___Common_rust_ | "
    "Corn_(maize)___Northern_Leaf_Blight | Corn_(maize)___healthy | Grape___Black_rot | "
    "Grape___Esca_(Black_Measles) | Grape___Leaf_blight_(Isariopsis_Leaf_Spot) | Grape___healthy | "
    "Orange___Haunglongbing_(Citrus_greening) | Peach___Bacterial_spot | Peach___healthy | "
    "Pepper,_bell___Bacterial_spot | Pepper,_bell___healthy | Potato___Early_blight | Potato___Late_blight | "
    "Potato___healthy | Raspberry___healthy | Soybean___healthy | Squash___Powdery_mildew | "
    "Strawberry___Leaf_scorch | Strawberry___healthy | Tomato___Bacterial_spot | Tomato___Early_blight | "
    "Tomato___Late_blight | Tomato___Leaf_Mold | Tomato___Septoria_leaf_spot | Tomato___Spider_mites "
    "Two-spotted_spider_mite | Tomato___Target_Spot | Tomato___Tomato_Yellow_Leaf_Curl_Virus | "
    "Tomato___Tomato_mosaic_virus | Tomato___healthy"
).split(" | ")

FLOWERS102 = [f"flower_{number:03d}" for number in range(1, 103)]  # padded: sorted order is number order


def spelling_key(name: str) -> str:
    """What stays of a class name when case, spaces and punctuation are left out."""
    return "".join(letter for letter in name.casefold() if letter.isalnum())


def canonical(name: str, official: list[str]) -> str:
    """The official spelling of a class name, or the name itself where the list holds nothing like it."""
    key = spelling_key(name)
    return next((known for known in official if spelling_key(known) == key), name)
